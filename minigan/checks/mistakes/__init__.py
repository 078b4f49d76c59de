"""Which mistake a wrong gradient shows: explanations tried one by one, each against the numeric gradient.

The kinds of mistakes, A being the analytic gradient and g the true one:
    missing        A = 0, on other samples too
    sign           A = −g, or a path of it has the wrong sign
    factor         A = c g with c named by the layer's shapes and options; a factor array left out, or there twice; what reaches
                   a product x W taken for what comes before it, without the derivative in between
    exchanged      two parameters have each other's gradient
    transposed     the axes of A, or of a parameter in its formula, are exchanged; J dy in place of Jᵀ dy
    flipped        A, or a parameter in its formula, is turned round along an axis
    axis           summed or averaged over an axis too many, over another axis, or without the first or last index
    not added up   one share where all should be added up: the last of a loop, one sample, a broadcast not summed, a diagonal
    part left out  a path is missing: through μ, σ, a matrix, the layers of a residual, an operand of a product
    x for y        the derivative is taken at x and should be at y, or the other way round
    train          the gradient of the other mode
    added          added to what lay in grads before;  not written: left there
    cache          the cache, dy or x is changed before the passes are done with it
    float32        float32 in a float64 check; where the gradient is right to the tolerance, a note
An explanation speaks only where what it says makes A to the tolerance of the check, or where a pass in other circumstances
gives the true gradient; so of most other mistakes nothing is said. `python -m tests.campaigns.mistakes` counts how often.
"""
