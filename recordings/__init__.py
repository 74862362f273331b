"""Videos and recorded episodes into the store: real formats and generators. Read `episode.py`."""

from recordings.episode import Video, append_video, video_fields

__all__ = ["Video", "append_video", "video_fields"]
