"""A page as a browser without JavaScript sees it: its words, its links, and its forms filled in and sent."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element

import html5lib
import httpx

Typed = Mapping[str, str | Sequence[str]]


class Form:
    """One form of a page, with what stands in it."""

    def __init__(self, element: Element, here: str) -> None:
        self.element = element
        self.action = element.get("action") or here
        self.method = (element.get("method") or "get").lower()

    def fields(self) -> dict[str, list[str]]:
        """What would be sent, without the buttons."""
        found: dict[str, list[str]] = {}
        for one in self.element.iter():
            name = one.get("name")
            if name is None or one.get("disabled") is not None:
                continue
            if one.tag == "input" and (one.get("type") not in {"checkbox", "radio"} or one.get("checked") is not None):
                found.setdefault(name, []).append(one.get("value") or "")
            elif one.tag == "textarea":
                found.setdefault(name, []).append("".join(one.itertext()).removeprefix("\n"))
            elif one.tag == "select":
                options = list(one.iter("option"))
                chosen = [option for option in options if option.get("selected") is not None] or options[:1]
                found.setdefault(name, []).extend(_value(option) for option in chosen)
        return found

    def send(self, client: httpx.Client, button: str = "", typed: Typed | None = None) -> httpx.Response:
        """Press the button with this text (else the first one) after typing."""
        buttons = [one for one in self.element.iter("button") if button in "".join(one.itertext())]
        assert buttons, f"there is no button {button!r}"
        pressed = buttons[0]
        fields = self.fields()
        for name, value in (typed or {}).items():
            fields[name] = [value] if isinstance(value, str) else list(value)
        if pressed.get("name"):
            fields[str(pressed.get("name"))] = [pressed.get("value") or ""]
        action = pressed.get("formaction") or self.action
        if self.method == "post":
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return client.post(action, content=urlencode(fields, doseq=True), headers=headers)
        return client.get(action, params=fields)


def _value(option: Element) -> str:
    found = option.get("value")
    return "".join(option.itertext()) if found is None else found


class Sheet:
    """A page."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status, self.html, self.path = answer.status_code, answer.text, str(answer.url)
        self.root: Any = html5lib.parse(answer.text, namespaceHTMLElements=False)

    @property
    def text(self) -> str:
        """The words of the page's content, single blanks between them."""
        main = next(self.root.iter("main"), self.root)
        return " ".join(" ".join(main.itertext()).split())

    def all(self, tag: str, **has: str) -> Iterator[Element]:
        """The elements of this kind that have these attributes."""
        for one in self.root.iter(tag):
            if all(one.get(name) == value for name, value in has.items()):
                yield one

    def links(self) -> list[str]:
        """Where the content's links lead."""
        return [one.get("href") or "" for one in next(self.root.iter("main")).iter("a")]

    def forms(self) -> list[Form]:
        """The forms of the content."""
        return [Form(one, self.path) for one in next(self.root.iter("main")).iter("form")]

    def form(self, action: str) -> Form:
        """The first form of the content that leads to an address that begins so."""
        for one in self.forms():
            if one.action.startswith(action):
                return one
        message = f"there is no form to {action}: {self.text}"
        raise AssertionError(message)

    def error(self, name: str) -> str:
        """What is said to be wrong with a field."""
        return " ".join("".join(one.itertext()).strip() for one in self.all("p", id=f"f-{name}-error"))
