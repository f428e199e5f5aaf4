"""What nobody may make grow: rates, requests under way, connections, descriptors, what users make."""
