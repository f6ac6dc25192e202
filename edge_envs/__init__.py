"""Edge-intelligence environments for Gymnasium; importing the package registers them."""

from gymnasium.envs.registration import register, registry

__version__ = "0.1.0"

_SYSTEMS = {
    "LyaPPO-v0": ("edge_envs.lyappo.system:LyaPPOSystem", 200),
    "DTIRS-v0": ("edge_envs.dtirs.system:DTIRSSystem", 100),
    "ECCNOMA-v0": ("edge_envs.eccnoma.system:ECCNOMASystem", 100),
    "SemCom-v0": ("edge_envs.semcom.system:SemComSystem", 1000),
}

for _id, (_system, _steps) in _SYSTEMS.items():
    if _id not in registry:
        register(
            id=_id,
            entry_point="edge_envs.core.env:EdgeEnv",
            vector_entry_point="edge_envs.core.env:EdgeVectorEnv",
            max_episode_steps=_steps,
            # The environments check actions and the order of calls; Gymnasium's wrappers for that would cost time.
            order_enforce=False,
            disable_env_checker=True,
            kwargs={"system": _system},
        )
