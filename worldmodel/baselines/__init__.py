"""The papers' other systems as video models (`worldmodel/video_model.py`)."""
