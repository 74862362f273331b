"""The papers' other systems, as models of video (`worldmodel/video_model.py`)."""
