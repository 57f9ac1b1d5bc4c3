"""Small charts drawn on the server: bars that stand on each other, readable without seeing them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from markupsafe import Markup

WIDTH, HEIGHT = 600, 100
# A single failure among ten thousand successes is still to be seen.
LEAST = 2


def bars(title: str, minutes: Sequence[datetime], series: Mapping[str, Sequence[int]], tones: Mapping[str, str]) -> Markup:
    """A chart of what happened in each minute: `series` from the bottom up, each a number a minute, with its tone.

    The picture has a title and a description that says the sums; each bar says its own numbers.
    """
    totals = [sum(values) for values in zip(*series.values(), strict=True)]
    top = ceiling(max(totals, default=0))
    step = WIDTH / max(1, len(minutes))
    drawn = [Markup('<path class="grid" d="M0 .5H{w}M0 {half}H{w}"/>').format(w=WIDTH, half=HEIGHT // 2)]
    for place, minute in enumerate(minutes):
        here = {word: values[place] for word, values in series.items() if values[place]}
        if not here:
            continue
        words = f"{minute:%H:%M} UTC: " + ", ".join(f"{count} {word}" for word, count in here.items())
        drawn.append(Markup("<g><title>{}</title>").format(words))
        floor = HEIGHT
        for word, count in here.items():
            height = min(floor, max(LEAST, round(count / top * HEIGHT)))
            drawn.append(
                Markup('<path class="{}" d="M{} {}h{}v-{}h-{}z"/>').format(
                    tones.get(word, "quiet"), _short(place * step + 1), floor, _short(step - 2), height, _short(step - 2)
                )
            )
            floor -= height
        drawn.append(Markup("</g>"))
    said = ", ".join(f"{sum(values)} {word}" for word, values in series.items()) or "nothing"
    span = f"{minutes[0]:%H:%M} to {minutes[-1]:%H:%M} UTC" if minutes else ""
    name = "chart-" + "".join(char for char in title.casefold() if char.isalnum())
    return Markup(
        '<svg class="bars" viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-labelledby="{name}-t {name}-d">'
        '<title id="{name}-t">{title}</title><desc id="{name}-d">{span}: {said}. At most {most} in a minute.</desc>{drawn}</svg>'
    ).format(
        w=WIDTH, h=HEIGHT, name=name, title=title, span=span, said=said, most=max(totals, default=0),
        drawn=Markup("").join(drawn),
    )  # fmt: skip


def meter(share: float, tone: str, words: str) -> Markup:
    """A bar from nothing to full: `share` between 0 and 1; `words` is what it says."""
    width = min(1.0, max(0.0, share)) * 100
    return Markup(
        '<svg class="meter {tone}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="{words}">'
        '<path class="ground" d="M0 0h100v6H0z"/><path class="{tone}" d="M0 0h{width}v6H0z"/></svg>'
    ).format(tone=tone, words=words, width=_short(width))


def ceiling(value: int) -> int:
    """The top of a scale that holds `value`: 1, 2 or 5 with noughts behind."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if step * size >= value:
                return step * size
        size *= 10


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
