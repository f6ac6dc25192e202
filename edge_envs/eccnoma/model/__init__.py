"""The compiled step of one world: state, dynamics, allocation, reward and observation."""
