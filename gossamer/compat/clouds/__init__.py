"""Points to voxels, boxes and bytes, as other libraries have them."""
