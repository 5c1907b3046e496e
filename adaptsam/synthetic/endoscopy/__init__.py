"""A synthetic endoscopy video with the exact outline of its polyp."""
