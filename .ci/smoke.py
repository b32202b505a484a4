"""What an installed wheel must do without any extra: import fast, train, save, load, predict."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXTRAS = ("matplotlib", "PIL", "pooch", "torch", "joblib")
code = f"import sys, fastnn; print(*[m for m in {EXTRAS} if m in sys.modules])"
fastest = 9.0
for _ in range(5):
    start = time.perf_counter()
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    fastest = min(fastest, time.perf_counter() - start)
assert not loaded, f"importing fastnn imports the extras {loaded}"
print(f"python -c 'import fastnn': {fastest:.3f} s, interpreter and NumPy included")

import fastnn as nn  # noqa: E402

(x, y), (x_test, y_test) = nn.datasets.fashion_mnist_sample()
model = nn.models.lenet5(seed=0)
trainer = nn.Trainer(model, loss=nn.SoftmaxCrossEntropy(), optimizer=nn.Adam(lr=1e-3), metrics=["accuracy"])
trainer.fit(x, y, epochs=1, batch_size=64, verbose=False)
accuracy = trainer.evaluate(x_test, y_test)["accuracy"]
assert accuracy > 0.6, accuracy
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "model.safetensors")
    model.save(path)
    assert (nn.load(path).predict(x_test[:5]) == model.predict(x_test[:5])).all()
print(f"trained one epoch, test accuracy {accuracy:.3f}; saved and loaded")
