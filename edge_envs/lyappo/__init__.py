"""XR devices with multi-task DNN inference at the edge: the Lyapunov-guided PPO system."""
