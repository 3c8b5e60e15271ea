"""
Data forms that are submitted (XEP-0004): names and values -> a form of a known type (XEP-0068).
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.words.xish.domish import Element

from restbridge.stanzas.payloads.forms import NS_FORMS


def addForm(parent: Element, formType: str, values: Mapping[str, str]) -> None:
    """
    Add a form to what it is submitted with.

    @param formType: the value of C{FORM_TYPE}.
    """
    form = parent.addElement((NS_FORMS, "x"))
    form["type"] = "submit"
    _field(form, "FORM_TYPE", formType)["type"] = "hidden"
    for name, value in values.items():
        _field(form, name, value)


def _field(form: Element, name: str, value: str) -> Element:
    field: Element = form.addElement("field")
    field["var"] = name
    field.addElement("value", content=value)
    return field
