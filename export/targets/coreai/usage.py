"""Write USAGE.md of a Core AI artifact: Python that runs the asset in Core AI's interpreter."""

from __future__ import annotations

from export.target import Emitted

TEXT = """\
`{file}` is a Core AI asset with one function for each of {functions}. It needs iOS or macOS 27. The packages that wrote
it are in beta, and it has not been run on an Apple device yet.

Run it anywhere with Python (`pip install coreai-core=={version}`):

```python
import asyncio
from pathlib import Path

import numpy as np
from coreai.authoring.asset import AIModelAsset
from coreai.runtime import NDArray


async def run(function, inputs):
    async with AIModelAsset.load(Path("{file}")).executable() as model:
        return await model.load_function(function)({{name: NDArray(value) for name, value in inputs.items()}})


outputs = asyncio.run(run("{first}", {{{inputs}}}))
```

Tensors are as in the reference: {tensors}.
"""


def usage_python(emitted: Emitted) -> str:
    """Return the text, with a call of the first function on zeros."""
    from importlib.metadata import version

    first = emitted.entries[0]
    ports = [port for entry in emitted.entries for port in (*entry.inputs, *entry.outputs)]
    tensors = [f"`{port.name}` {port.dtype} {list(port.shape)}" for port in ports]
    return TEXT.format(
        file=first.file,
        functions=", ".join(f"`{entry.function}`" for entry in emitted.entries),
        version=version("coreai-core"),
        first=first.function,
        inputs=", ".join(f'"{p.file_name}": np.zeros({list(p.shape)}, np.{p.dtype})' for p in first.inputs),
        tensors=", ".join(dict.fromkeys(tensors)),
    )
