"""The original CW-VAE's update, measured on request: run by its own Python, without our packages.

  PYTHON benchmarks/peers/cwvae.py REPOSITORY

Needs TensorFlow 2.4 to 2.15 and tensorflow-probability. Answers as `turns.py` says.
"""

import os
import sys
from importlib import import_module as load
from pathlib import Path


def main() -> None:
    """Build the model of its settings for GQN Mazes, and its optimizer as its training does."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # four times as fast where it is off by default
    repository = Path(sys.argv[1])
    sys.path.insert(0, str(repository))
    np, tf = load("numpy"), load("tensorflow.compat.v1")
    tf.disable_v2_behavior()
    cfg = load("tools").AttrDict()
    for name in ("base_config", "mazes"):
        text = (repository / "configs" / f"{name}.yml").read_text()
        cfg.update(load("yaml").safe_load(text))
    parts = load("cwvae").build_model(cfg, open_loop=False)
    loss = parts["meta"]["model"].loss
    weights = tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)
    keras = tf.keras.optimizers
    optimizer = getattr(keras, "legacy", keras).Adam(learning_rate=cfg.lr, epsilon=1e-04)
    grads = optimizer.get_gradients(loss, weights)
    grads = tf.clip_by_global_norm(grads, cfg.clip_grad_norm_by)[0]
    apply = optimizer.apply_gradients(list(zip(grads, weights, strict=True)))
    threads = {"intra_op_parallelism_threads": 1, "inter_op_parallelism_threads": 1}
    session = tf.Session(config=tf.ConfigProto(**threads))
    session.run(tf.global_variables_initializer())
    rng = np.random.default_rng(0)
    given = {parts["training"]["obs"]: rng.uniform(size=(4, 72, 64, 64, 3)).astype(np.float32)}

    def update() -> None:
        session.run(apply, feed_dict=given)

    for _ in range(2):
        update()
    load("turns").answer(sum(int(np.prod(x.shape.as_list())) for x in weights), update)


if __name__ == "__main__":
    main()
