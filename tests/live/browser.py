"""
A headless Chromium, as Debian packages it, on the page C{/docs/}.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.live.process import eventually
from tests.live.servers import ServerMissing

ARGUMENTS = (
    "--headless=new",
    "--window-size=1400,2000",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--disable-gpu",
)


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/bin")
    if found is None:
        raise ServerMissing(package, f"the program {name}")
    return found


class Browser:
    """
    A browser with one window.
    """

    def __init__(self) -> None:
        options = ChromeOptions()
        options.binary_location = _program("chromium", "chromium")
        for argument in ARGUMENTS:
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = Service(_program("chromedriver", "chromium-driver"))
        self._driver = Chrome(options=options, service=service)
        self._driver.set_script_timeout(10)

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._driver.quit()

    def open(self, url: str) -> None:
        """
        Open the page, and wait until it shows the description.
        """
        self._driver.get(url)
        self._find(".opblock")

    @property
    def title(self) -> str:
        """
        What the page is called.
        """
        return self._driver.title

    def operations(self) -> set[tuple[str, str]]:
        """
        The calls that the page offers: method and path.
        """
        shown = self._driver.find_elements(By.CSS_SELECTOR, ".opblock-summary-control")
        words = (summary.text.replace("\u200b", "").split() for summary in shown)
        return {(method, path) for method, path, *_ in words}

    def authorize(self, name: str, password: str) -> None:
        """
        Log in by HTTP Basic; who was logged in is logged out.
        """
        self._click(".auth-wrapper .authorize")
        for button in self._driver.find_elements(
            By.XPATH, "//div[@class='auth-container']//button[.='Logout']"
        ):
            button.click()
        self._write("#auth-basic-username", name)
        self._write("#auth-basic-password", password)
        self._find("#auth-basic-password").submit()
        self._find("//div[@class='auth-container']//button[.='Logout']")
        self._click(".auth-container .btn-done")

    def tryOut(self, operation: str, body: Any) -> tuple[int, str]:
        """
        Open an operation, fill in its body, and execute it.

        @param operation: its C{operationId}.
        @return: the status of the answer, and what the page shows of its body.
        """
        block = f".opblock[id$='-{operation}']"
        self._click(f"{block} .opblock-summary-control")
        self._click(f"{block} .try-out__btn")
        self._write(f"{block} .body-param__text", json.dumps(body))
        self._click(f"{block} .execute")
        answer = f"{block} .live-responses-table .response"
        status = self._find(f"{answer} .response-col_status").text
        shown = self._find(f"{answer} .response-col_description").text
        # As it was, for another try.
        self._click(f"{block} .btn-clear")
        self._click(f"{block} .try-out__btn.cancel")
        self._click(f"{block} .opblock-summary-control")
        return int(status.split()[0]), shown

    def fetch(self, url: str) -> str:
        """
        Have the page's script ask somebody.

        @return: the status, or the name of the error.
        """
        script = (
            "const [url, done] = arguments;"
            "fetch(url).then((answer) => done(String(answer.status)), (error) => done(error.name));"
        )
        return str(self._driver.execute_async_script(script, url))

    def complaints(self) -> list[str]:
        """
        What the browser has complained of since it was asked last: refused by the policy, failed, deprecated.
        """
        log = self._driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> Iterator[str]:
        """
        The URLs that were asked for since this was asked last, but for those that hold their data.
        """
        for entry in self._driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                url = str(event["params"]["request"]["url"])
                if not url.startswith("data:"):
                    yield url

    def _find(self, selector: str) -> WebElement:
        """
        Wait for an element: by XPath where the selector starts with a slash, else by CSS.
        """
        by = By.XPATH if selector.startswith("/") else By.CSS_SELECTOR
        return eventually(lambda: self._driver.find_elements(by, selector), f"{selector} on the page")[0]

    def _click(self, selector: str) -> None:
        element = self._find(selector)
        self._driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def _write(self, selector: str, text: str) -> None:
        """
        Replace the text of a field; typed key by key, the page would draw itself anew at each.
        """
        script = (
            "const [field, text] = arguments;"
            "Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), 'value').set.call(field, text);"
            "field.dispatchEvent(new Event('input', {bubbles: true}));"
        )
        self._driver.execute_script(script, self._find(selector), text)
