"""An agent's update beside DreamerV3's."""
