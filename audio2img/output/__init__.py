"""What stays on the disk: pictures that remember how they were made, under names that never collide."""
