"""Navigate from pixels and compass: the project's main task.

Command:   python train_agent.py --env minerl_navigate
Cost:      some 30 minutes on two CPU cores (docs/results.md)
Expected:  docs/results.md, Navigate Dense, builtin back end, the default run
"""

from dataclasses import replace

from configs.schema import TrainConfig


def preset(base: TrainConfig, accelerator: bool) -> TrainConfig:
    """Each action is held for 4 frames (0.2 s), one step of the agent, which turns by at most 20
    degrees, so that random actions walk somewhere instead of spinning. Jump is held; digging,
    placing, sneaking and walking back are disabled: with them, the agent digs itself in. It
    explores as in the general preset, which is how it finds the goal near the compass's target. On
    a CPU, images have 32 by 32 pixels, with one update per ten steps: steps are cheap here
    (docs/adr/0032).
    """
    model = replace(base.agent.model, strides=(1, 4), image_std=1.5, vector_std=0.1, min_std=0.03)
    agent = replace(
        base.agent,
        model=model,
        objective=replace(base.agent.objective, free_nats=8.0),
        behaviour=replace(base.agent.behaviour, horizon=32, discount=0.98, entropy_target=0.5),
        noise_correlation=0.75,
        keep_plan=0.35,
        novelty=1.0,
    )
    env = replace(
        base.env,
        action_repeat=4,
        options={"camera_limit": "5", "held_keys": "jump=1 attack=0 place=0 sneak=0 back=0"},
        num_envs=16,
        image_size=base.env.image_size if accelerator else 32,
    )
    return replace(
        base,
        env=env,
        agent=agent,
        optimizer=replace(base.optimizer, lr=2e-3 if not accelerator else base.optimizer.lr),
        steps=500_000 if accelerator else 160_000,
        prefill=4_000,
        updates_per_step=0.25 if accelerator else 0.1,
        batch=16 if accelerator else 8,
        length=64 if accelerator else 32,
        eval_every=50_000 if accelerator else 0,
        save_every=50_000 if accelerator else 10_000,
        video_every=50_000 if accelerator else 20_000,
    )
