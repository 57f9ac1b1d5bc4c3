"""Groups hold together: no circles, inheritance along every way, and always an administrator."""

from collections.abc import Callable

import pytest
from office import Office
from races import meet

from worker.directory import groups, users
from worker.jobs import UserRef
from worker.outcomes import Reject
from worker.scope import Scope


def make(office: Office, *names: str, **below: str) -> None:
    """Create groups; `below`: child=parent."""
    with office.scope() as scope:
        for name in names:
            groups.create(scope, name, [], {})
        for child, parent in below.items():
            groups.add_parents(scope, groups.get(scope, child), [groups.get(scope, parent)])


def put(office: Office, username: str, group: str, origin: str = "manual") -> str:
    with office.scope() as scope:
        user = users.get(scope, UserRef(username=username))
        groups.add(scope, [(user.id, groups.get(scope, group).id)], origin)
        return user.id


def belongs(office: Office, user_id: str) -> set[tuple[str, str]]:
    with office.scope() as scope:
        return {(one.group.name, one.via.name) for one in groups.effective_groups(scope, [user_id])[user_id]}


def test_a_group_is_found_in_any_spelling(office: Office) -> None:
    make(office, "Größe")
    with office.scope() as scope:
        found = groups.find(scope, ["GRÖSSE", "grösse ", "other"])
    assert [one and one.name for one in found] == ["Größe", "Größe", None]


def test_membership_is_inherited_along_every_way(office: Office) -> None:
    office.world()
    make(office, "team", "unit", "firm", team="unit", unit="firm", staff="firm")
    ann = put(office, "ann", "team")
    assert belongs(office, ann) == {
        ("staff", "staff"), ("firm", "staff"), ("team", "team"), ("unit", "team"), ("firm", "team")
    }  # fmt: skip
    with office.scope() as scope:
        firm = groups.get(scope, "firm")
        assert groups.members(scope, firm, inherited=False) == []
        assert groups.members(scope, firm, inherited=True) == [ann]
        assert groups.size(scope, firm) == (0, 2)


def test_effective_groups_are_asked_for_many_at_once(office: Office) -> None:
    office.world()
    with office.scope() as scope:
        ids = [user.id for user in users.find(scope, [UserRef(username=name) for name in ("ann", "bob")]) if user]
        found = groups.effective_groups(scope, ids)
        assert [[one.group.name for one in found[user_id]] for user_id in ids] == [["staff"], ["administrators"]]


def test_a_circle_is_refused(office: Office) -> None:
    make(office, "a", "b", "c", b="a", c="b")
    with pytest.raises(Reject) as refusal, office.scope() as scope:
        groups.add_parents(scope, groups.get(scope, "a"), [groups.get(scope, "c")])
    assert refusal.value.code == "group_cycle"
    with pytest.raises(Reject), office.scope() as scope:
        groups.add_parents(scope, groups.get(scope, "a"), [groups.get(scope, "a")])


def test_two_at_once_make_no_circle(office: Office) -> None:
    make(office, "a", "b", "c", "d", c="b", a="d")

    def below(child: str, parent: str) -> Callable[[Scope], int]:
        def work(scope: Scope) -> int:
            groups.hold_graph(scope)
            return groups.add_parents(scope, groups.get(scope, child), [groups.get(scope, parent)])

        return work

    # b below a, and d below c at the same time: together with c below b and a below d a circle of four.
    given, answer, waited = meet(office, below("b", "a"), below("d", "c"))
    assert (given, waited) == (1, True)
    assert isinstance(answer, Reject)
    assert answer.code == "group_cycle"


@pytest.mark.parametrize(
    ("there", "asked", "left"),
    [
        ("rule", "feed", "feed"),
        ("rule", "manual", "manual"),
        ("feed", "manual", "manual"),
        ("manual", "rule", "manual"),
        ("manual", "feed", "manual"),
        ("feed", "rule", "feed"),
    ],
)
def test_the_stronger_origin_stays(office: Office, there: str, asked: str, left: str) -> None:
    office.world()
    make(office, "team")
    ann = put(office, "ann", "team", there)
    put(office, "ann", "team", asked)
    with office.scope() as scope:
        found = {group.name: origin for group, origin in groups.memberships(scope, [ann])[ann]}
    assert found["team"] == left


def test_only_the_named_origins_are_removed(office: Office) -> None:
    office.world()
    make(office, "team", "club")
    ann = put(office, "ann", "team", "rule")
    put(office, "ann", "club", "manual")
    with office.scope() as scope:
        pairs = [(ann, groups.get(scope, name).id) for name in ("team", "club")]
        assert groups.remove(scope, pairs, origins=["rule"]) == {pairs[0]}
        assert groups.remove(scope, pairs) == {pairs[1]}
        assert groups.remove(scope, pairs) == set()


def test_of_all_administrators_leaving_the_last_one_stays(office: Office) -> None:
    office.world()
    put(office, "ann", "administrators")
    with office.scope() as scope:
        ann, bob, carol = (users.get(scope, UserRef(username=name)).id for name in ("ann", "bob", "carol"))
        assert groups.last_administrators(scope, [carol, ann]) == set()
        assert groups.last_administrators(scope, [ann, bob]) == {bob}
        assert groups.last_administrators(scope, [bob, carol, ann]) == {ann}


def test_an_administrator_in_two_ways_may_lose_one(office: Office) -> None:
    office.world()
    make(office, "chiefs", chiefs="administrators")
    bob = put(office, "bob", "chiefs")
    with office.scope() as scope:
        chiefs, top, staff = (groups.get(scope, name).id for name in ("chiefs", "administrators", "staff"))
        assert groups.last_administrator_pairs(scope, [(bob, top)]) == set()
        assert groups.last_administrator_pairs(scope, [(bob, staff)]) == set()
        assert groups.last_administrator_pairs(scope, [(bob, top), (bob, chiefs)]) == {(bob, chiefs)}


def test_an_inactive_or_locked_administrator_does_not_count(office: Office) -> None:
    office.world()
    carol = put(office, "carol", "administrators")
    ann = put(office, "ann", "administrators")
    office.do("lock_user", {"user": "ann", "owner": "security", "reason": "lost laptop"})
    with office.scope() as scope:
        bob = users.get(scope, UserRef(username="bob")).id
        assert groups.administrators(scope) == {bob}
        assert groups.last_administrators(scope, [bob]) == {bob}
        assert groups.last_administrators(scope, [carol]) == set()
        assert groups.last_administrators(scope, [ann]) == set()


def test_two_removals_at_once_leave_an_administrator(office: Office) -> None:
    office.world()
    put(office, "ann", "administrators")

    def leave(name: str) -> Callable[[Scope], set[groups.Pair]]:
        def work(scope: Scope) -> set[groups.Pair]:
            user = users.get(scope, UserRef(username=name))
            [group] = groups.find(scope, ["administrators"], lock=False)
            assert group is not None
            pair = (user.id, group.id)
            if groups.last_administrator_pairs(scope, [pair]):
                raise Reject("last_administrator", user=name)
            return groups.remove(scope, [pair])

        return work

    given, answer, waited = meet(office, leave("ann"), leave("bob"))
    assert len(given) == 1
    assert waited
    assert isinstance(answer, Reject)
    with office.scope() as scope:
        assert len(groups.administrators(scope)) == 1
