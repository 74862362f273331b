"""What a trained world model is measured by: metrics of predicted video, and looks inside."""
