"""Images and labels: reading, cropping, drawing a training order."""
