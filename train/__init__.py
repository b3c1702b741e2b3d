"""Training: `accelerate launch -m train.train --config train/configs/quickstart.yaml`."""
