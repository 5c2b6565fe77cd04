"""Markup that cannot be broken out of, and pictures that hold exactly their pixels."""

import base64

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mnist_pipeline.data.png import png_bytes
from mnist_pipeline.evaluate.markup import Html, el, picture, png, table


@given(st.text(), st.text())
def test_elements_give_back_the_text_they_were_given(parse, inside, attribute):
    page = parse(el("p", inside, title=attribute))
    visible = {i: 0x2400 + i for i in range(32) if i not in (9, 10)} | {127: 0x2421}
    assert page.text == inside.translate(visible)
    assert page.tags == [("p", {"title": attribute.translate(visible)})]


def test_markup_inside_an_attribute_is_text_too():
    assert el("p", title=Html('"><b>')) == '<p title="&quot;&gt;&lt;b&gt;"></p>'
    assert el("p", el("b", "<")) == "<p><b>&lt;</b></p>"


def test_a_picture_says_what_it_shows_and_how_large_it_is(parse):
    image = np.zeros((28, 20), np.uint8)
    page = parse(picture(image, 'a "3"'))
    assert page.tags == [("img", {"src": png(image), "alt": 'a "3"', "style": "--w:20;--h:28"})]
    assert base64.b64decode(png(image).partition(",")[2]) == png_bytes(image)


def test_a_table_names_its_columns_its_rows_and_itself(parse):
    page = parse(table(("class", "n"), [("a", "1"), ("b", "2")], caption="Rows by class"))
    assert page.count("caption") == 1
    scopes = [attributes.get("scope") for tag, attributes in page.tags if tag == "th"]
    assert scopes == ["col", "col", "row", "row"]
    assert page.words == ["Rows by class", "class", "n", "a", "1", "b", "2"]
