"""What executes runs: processes, their supervision, and the engines that start them."""
