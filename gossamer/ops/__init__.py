"""What is computed: tensors in, tensors out. Five families; torch.compile sees one node each."""
