"""What a bridge is to the domain: what it brings in, how it fares, when it tries again."""
