"""Gathers the pages for people; the addresses without a token come before those with one."""

from fastapi import APIRouter

from worker.selfservice import forgotten, invite, recover

router = APIRouter()
for _one in (forgotten.router, recover.router, invite.router):
    router.include_router(_one)
