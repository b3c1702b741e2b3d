"""`python -m train`, the same as `python train/train.py`."""

from train.train import main

if __name__ == "__main__":
    main()
