"""ARM instructions per inference, and the gate on them."""
