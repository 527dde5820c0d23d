"""`treering.collective`: XGBoost's ring over the same ranks in the same order, and none for a single rank."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import numpy as np
import psutil
from xgboost import collective

from treering.collective import communicator

if TYPE_CHECKING:
    from treering.world import World


def test_xgboosts_ring_has_mpis_ranks(world: World) -> None:
    """Inside, XGBoost counts and numbers the ranks as MPI does, and can add over them; outside, it is alone."""
    with communicator(world, "127.0.0.1"):
        assert collective.is_distributed() == (world.size > 1)
        assert (collective.get_rank(), collective.get_world_size()) == (world.rank, world.size)
        total = collective.allreduce(np.array([world.rank]), collective.Op.SUM)
        assert total.tolist() == [sum(range(world.size))]
    assert not collective.is_distributed()
    world.barrier()


def test_a_ring_can_be_formed_again(world: World) -> None:
    """Nothing of an earlier ring stands in the way of the next."""
    for _ in range(2):
        with communicator(world, "127.0.0.1"):
            assert collective.get_world_size() == world.size
        world.barrier()


def test_a_stranger_on_the_tracker_does_not_keep_the_ranks(world: World) -> None:
    """Somebody connects to XGBoost's tracker in training, and says nothing: the ring is left all the same."""
    guests: list[socket.socket] = []
    with communicator(world, "127.0.0.1"):
        if world.rank == 0 and world.size > 1:
            sockets = psutil.Process().net_connections("tcp")
            ports = {each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN}
            guests = [socket.create_connection(("127.0.0.1", port)) for port in ports]
        world.barrier()
    assert not collective.is_distributed()
    world.barrier()
    for guest in guests:
        guest.close()
