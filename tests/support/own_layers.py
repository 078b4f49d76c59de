"""A user's file with a layer of its own, for `minigan gradcheck FILE.py`."""

GOOD = """
import minigan as mg

class Scale(mg.Layer):
    def build(self, input_shape):
        self.add_parameter("a", input_shape[-1:], mg.constant(1.0))
        return input_shape

    def forward(self, x, train=False):
        return self.a * x, x

    def backward(self, dy, cache, grads=None, input_grad=True):
        if grads is not None:
            grads["a"][...] = self.backend.column_dot(cache, dy)
        return self.a * dy if input_grad else None

CHECKS = [(Scale(), (4, 3)), (Scale(), (5,))]
"""
