"""What readers share: pages, confirmations, and what wakes those that are no sessions."""
