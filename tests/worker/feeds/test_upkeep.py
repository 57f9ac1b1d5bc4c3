"""Old plans are put aside, old runs and messages pruned; what is known of people stays."""

from hr import HR, person


def test_plans_that_nobody_applied_are_put_aside_and_their_names_are_free_again(hr: HR) -> None:
    hr.plan([person("001", "Ann", "Archer")])
    hr.office.later(days=9)
    hr.feeder.tidy()
    [run] = hr.office.rows("feed_run")
    assert (run["state"], run["problem"]) == ("dropped", "too old: plan the input anew")
    assert hr.office.rows("feed_name") == []


def test_a_run_that_was_left_while_planning_is_put_aside(hr: HR) -> None:
    hr.plan([person("001", "Ann", "Archer")])
    with hr.office.scope() as scope:
        scope.conn.exec_driver_sql("UPDATE feed_run SET state = 'planning'")
    hr.office.later(hours=30)
    hr.feeder.tidy()
    assert [run["state"] for run in hr.office.rows("feed_run")] == ["dropped"]


def test_runs_are_pruned_after_the_retention_and_people_are_not(hr: HR) -> None:
    hr.apply([person("001", "Ann", "Archer")])
    hr.feeder.tidy()
    assert len(hr.office.rows("feed_action")) == 1
    hr.office.later(days=31)
    hr.feeder.tidy()
    assert hr.office.rows("feed_action") == []
    assert hr.office.rows("feed_run") == []
    assert len(hr.office.rows("feed_person")) == 1
    assert [name["username"] for name in hr.office.rows("feed_name")] == ["ann.archer"]
    assert hr.plan([person("001", "Ann", "Archer")]).counts == {"unchanged": 1}
