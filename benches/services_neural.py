"""What `NeuralCircuitBreaker.predict` costs beside the bare model, and beside the bare model in an executor's thread.

Each round runs every subject once, in turn, and differences and ratios are taken within a round; their medians are
printed, in microseconds. The wall's clock is what a caller waits; on a busy machine most of that is waiting for a
processor, twice a call: there, the best round of each subject, and the processor time of the whole process, say more.

The bare model cannot be interrupted and stops the event loop while it runs: whoever wants a deadline pays for the way
to a thread and back. So there are three more floors: the model after a turn of the loop, which is what a caller has
whose loop has something else to do, with colder caches than those of a loop over nothing else; the leanest hop that a
careful user writes (`hop.Hop`); and `loop.run_in_executor`. "at ref." is what is added as it would be where an empty
`await f()` takes 69 ns, the speed that the budget was set for.

    python benches/services_neural.py [--rounds N]
"""

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from hop import Hop, speed
from switchgear import BACKEND, CircuitBreakerRegistry
from switchgear.services.neural import NeuralCircuitBreaker

VECTOR: Final = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
SLICE: Final = 0.005
"""Seconds of one subject in one round."""
BUDGET_US: Final = 15.0
BUDGET_PART: Final = 0.10

Subject = Callable[[], Awaitable[Any]]


class Times(NamedTuple):
    """Microseconds a call."""

    wall: float
    processor: float
    """Of all threads of the process; not of those of others, which may be what the wall clock shows."""


def weighted_sum(vector: list[float]) -> list[float]:
    """Answer as the smallest model there is."""
    return [sum(vector) * 0.125]


def waiting(vector: list[float]) -> list[float]:
    """Answer as a model of half a millisecond that lets go of the interpreter."""
    time.sleep(0.0005)
    return [vector[0]]


def perceptron() -> Any:
    """Return a trained MLPRegressor of 8 inputs and 32 hidden units."""
    from sklearn.neural_network import MLPRegressor

    rows = [[(row * column % 7) / 7 for column in range(1, 9)] for row in range(64)]
    return MLPRegressor(hidden_layer_sizes=(32,), random_state=0).partial_fit(rows, [sum(row) for row in rows])


def onnx_perceptron(hidden: int) -> Any:
    """Return a session of an ONNX model of 8 inputs and one hidden layer, which runs on one thread."""
    import numpy as np
    import onnx

    random = np.random.default_rng(0)
    shapes = {"w1": (8, hidden), "w2": (hidden, hidden), "w3": (hidden, 1)}
    constants = [
        onnx.numpy_helper.from_array(random.normal(0.0, 0.05, shape).astype("float32"), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        onnx.helper.make_node(kind, inputs, [output])
        for kind, inputs, output in (
            ("MatMul", ["x", "w1"], "a"),
            ("Tanh", ["a"], "b"),
            ("MatMul", ["b", "w2"], "c"),
            ("Tanh", ["c"], "d"),
            ("MatMul", ["d", "w3"], "y"),
        )
    ]
    info = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(nodes, "g", [info("x", kind, [1, 8])], [info("y", kind, [1, 1])], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(model, path)
        return NeuralCircuitBreaker("export", path, registry=CircuitBreakerRegistry()).model


def bare_estimator(model: Any) -> Callable[[], Any]:
    import numpy as np

    return lambda: model.predict(np.array(VECTOR)[None, :]).tolist()


def bare_session(session: Any) -> Callable[[], Any]:
    import numpy as np

    return lambda: session.run(["y"], {"x": np.array(VECTOR, "float32")[None, :]})[0].ravel().tolist()


def models() -> dict[str, tuple[Any, Callable[[], Any]]]:
    """Return the models, each with its bare call."""
    small, large, estimator = onnx_perceptron(32), onnx_perceptron(2048), perceptron()
    return {
        "a callable, sum of 8": (weighted_sum, lambda: weighted_sum(VECTOR)),
        "a callable, 0.5 ms": (waiting, lambda: waiting(VECTOR)),
        "ONNX, 8-32-32-1": (small, bare_session(small)),
        "ONNX, 8-2048-2048-1": (large, bare_session(large)),
        "MLPRegressor, 8-32-1": (estimator, bare_estimator(estimator)),
    }


def subjects(model: Any, bare: Callable[[], Any], executor: ThreadPoolExecutor, hop: Hop) -> dict[str, Subject]:
    """Return what is compared."""
    loop = asyncio.get_running_loop()
    neural = NeuralCircuitBreaker("bench", model, registry=CircuitBreakerRegistry())

    async def here() -> Any:
        return bare()

    async def after_a_turn() -> Any:
        await asyncio.sleep(0)
        return bare()

    async def over_hop() -> Any:
        return await hop.call(bare)

    async def in_executor() -> Any:
        return await loop.run_in_executor(executor, bare)

    async def predict() -> Any:
        return await neural.predict(VECTOR)

    return {
        "bare": here,
        "turn": after_a_turn,
        "hop": over_hop,
        "executor": in_executor,
        "predict": predict,
    }


async def timed(subject: Subject, count: int) -> Times:
    """Return microseconds a call."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(count):
        await subject()
    return Times((time.perf_counter() - wall) * 1e6 / count, (time.process_time() - processor) * 1e6 / count)


async def measure(model: Any, bare: Callable[[], Any], rounds: int) -> tuple[dict[str, list[Times]], list[float]]:
    """Return the times of each subject, one of each a round, and the machine's speed in the rounds."""
    with ThreadPoolExecutor(1) as executor, closing(Hop()) as hop:
        compared = subjects(model, bare, executor, hop)
        counts = {}
        for name, subject in compared.items():
            await timed(subject, 20)
            counts[name] = max(5, round(SLICE * 1e6 / (await timed(subject, 20)).wall))
        samples: dict[str, list[Times]] = {name: [] for name in compared}
        speeds: list[float] = []
        gc.collect()
        gc.disable()
        for number in range(rounds):
            speeds.append(await speed())
            for name in list(compared)[:: -1 if number % 2 else 1]:
                samples[name].append(await timed(compared[name], counts[name]))
        gc.enable()
    return samples, speeds


FLOORS: Final = ("bare", "turn", "hop", "executor")


def row(title: str, samples: dict[str, list[float]], speeds: list[float]) -> str:
    """Return one line of a table: medians over the rounds."""
    predict = samples["predict"]

    def added(floor: str) -> list[float]:
        return [mine - its for mine, its in zip(predict, samples[floor], strict=True)]

    part = median(mine / its for mine, its in zip(predict, samples["bare"], strict=True)) - 1
    scaled = median(each * speed for each, speed in zip(added("bare"), speeds, strict=True))
    held = scaled <= BUDGET_US or part <= BUDGET_PART
    costs = "".join(f"{median(samples[name]):10.1f}" for name in (*FLOORS, "predict"))
    over = "".join(f"{median(added(floor)):+10.1f}" for floor in FLOORS)
    return f"{title:22}{costs}{over}{scaled:+9.1f}{part:+8.0%}{'held' if held else 'not held':>10}"


def print_table(clock: str, everything: dict[str, dict[str, list[float]]], speeds: dict[str, list[float]]) -> None:
    heads = "".join(f"{name:>10}" for name in (*FLOORS, "predict", *(f"to {floor}" for floor in FLOORS), "at ref."))
    print(f"{clock:22}{heads}")
    for title, samples in everything.items():
        print(row(title, samples, speeds[title]))
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    print(f"predict(), {BACKEND} backend, microseconds a call, medians of {rounds} rounds")
    print(f"budget: added to the bare model {BUDGET_US:.0f} us at reference speed, or {BUDGET_PART:.0%}\n")
    measured = {title: asyncio.run(measure(model, bare, rounds)) for title, (model, bare) in models().items()}
    tables = {
        f"{clock} clock": {
            title: {name: [getattr(each, clock) for each in times] for name, times in samples.items()}
            for title, (samples, _) in measured.items()
        }
        for clock in Times._fields
    }
    tables["the best rounds' wall"] = {
        title: {name: [min(values)] for name, values in samples.items()}
        for title, samples in tables["wall clock"].items()
    }
    speeds = {title: each for title, (_, each) in measured.items()}
    best = {title: [max(values)] for title, values in speeds.items()}
    for clock, table in tables.items():
        print_table(clock, table, best if clock.startswith("the best") else speeds)


if __name__ == "__main__":
    main()
