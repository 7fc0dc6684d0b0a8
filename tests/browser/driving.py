"""Opening a notebook in JupyterLab, running it, moving its widgets, and measuring what is seen. What must hold is in the tests."""

import time

import nbformat

VIEWPORT = {"width": 1280, "height": 720}  # a common projector
RUN_SECONDS = 480  # for a whole lesson, on a busy machine
KERNEL_RESTS = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}  # else Lab asks


def opened(browser, address, name):
    """A notebook in a window of its own, its kernel ready: the page, and a list that fills with what the console complains of."""
    page = browser.new_context(viewport=VIEWPORT).new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{address}/lab/tree/{name}?reset")
    page.wait_for_function(KERNEL_RESTS, timeout=RUN_SECONDS * 1000)
    page.set_default_timeout(30_000)
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    return page, complaints


def run_all(page):
    """Run every cell, and return once the last one is through and the kernel rests."""
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    through = """() => { const cells = window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells;
        return cells.filter(cell => cell.cell_type === 'code' && cell.source.trim()).at(-1).execution_count !== null; }"""
    page.wait_for_function(through, timeout=RUN_SECONDS * 1000)
    page.wait_for_function(KERNEL_RESTS)


def content(page):
    """The notebook with its outputs, as it would be saved."""
    return nbformat.from_dict(page.evaluate("window.jupyterapp.shell.currentWidget.content.model.toJSON()"))


def use_theme(page, name):
    """Switch to JupyterLab's "Light" or "Dark" theme."""
    page.evaluate(
        "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", f"JupyterLab {name}"
    )
    page.wait_for_function(f"document.body.dataset.jpThemeName === 'JupyterLab {name}'")
    page.wait_for_timeout(500)  # its colours fade in


def picture(shown):
    """What is on the screen: a digest of the bytes that the image was given."""
    read = """async image => {
        const bytes = await (await fetch(image.src)).arrayBuffer();
        return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))).join();
    }"""
    return shown.locator("img.widget-image").evaluate(read)


def settled(page, shown):
    """The picture once nothing is on its way any more: the kernel rests, and half a second brings nothing new."""
    last, since = None, time.monotonic()
    while last is None or time.monotonic() - since < 0.5:
        page.wait_for_function(KERNEL_RESTS)
        if (now := picture(shown)) != last:
            last, since = now, time.monotonic()
        page.wait_for_timeout(100)
    return last


def changed(shown, before, seconds=10):
    """The picture once it differs from `before`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (now := picture(shown)) != before:
            return now
        time.sleep(0.02)
    raise AssertionError(f"the picture stayed the same for {seconds} s")


def drag(page, slider, to):
    """Drag a slider's handle to a share of its length, as a hand would, in several moves."""
    slider.scroll_into_view_if_needed()  # cells above that are drawn late push it off the screen
    handle, rail = slider.locator(".noUi-handle").bounding_box(), slider.locator(".noUi-base").bounding_box()
    start = handle["x"] + handle["width"] / 2
    y = handle["y"] + handle["height"] / 2
    end = rail["x"] + rail["width"] * to
    page.mouse.move(start, y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(start + (end - start) * step / 5, y)
    page.mouse.up()


def move_sliders(page, shown):
    """Drag each slider of a widget to both ends, and send it there by the keys Home and End, and one step back by an arrow.

    Fails where the picture or the read-out stays as it was, or the keys end elsewhere than the mouse.
    """
    sliders = [shown.locator(".widget-slider").nth(k) for k in range(shown.locator(".widget-slider").count())]
    for slider in sliders:  # at an end, another slider may make no difference
        drag(page, slider, 0.5)
    for slider in sliders:
        readout = slider.locator(".widget-readout")
        drag(page, slider, 0.0)
        at_the_start, first = settled(page, shown), readout.inner_text()
        drag(page, slider, 1.0)
        changed(shown, at_the_start)
        at_the_end, last = settled(page, shown), readout.inner_text()
        assert first != last
        slider.locator(".noUi-handle").focus()
        for key, before, said in (("Home", at_the_end, first), ("End", at_the_start, last)):
            page.keyboard.press(key)
            changed(shown, before)
            settled(page, shown)
            assert readout.inner_text() == said
        page.keyboard.press("ArrowLeft")
        changed(shown, at_the_end)
        drag(page, slider, 0.5)


def cut_words(shown):
    """The labels and read-outs of a widget that don't fit into their place."""
    cut = "labels => labels.filter(label => label.scrollWidth > label.clientWidth + 1).map(label => label.textContent)"
    return shown.locator(".widget-label, .widget-readout").evaluate_all(cut)


def outside(shown, room):
    """The parts of a widget that reach beyond `room`, a box {x, width}, to the left or right: [class names and box]."""
    look = """(parts, room) => parts.filter(part => part.checkVisibility()).map(part => [part.className, part.getBoundingClientRect()])
        .filter(([name, box]) => box.width > 1 && (box.left < room.x - 1 || box.right > room.x + room.width + 1))
        .map(([name, box]) => `${name}: ${box.left} to ${box.right}`)"""
    parts = ".widget-inline-hbox, .widget-label, .widget-readout, .noUi-base, .noUi-handle, select, button, img.widget-image"
    return shown.locator(parts).evaluate_all(look, room)


def faint_words(shown, least=4.5):
    """Words outside pictures whose contrast to their ground is below `least` (WCAG 2.2, 1.4.3): [(words, contrast)]."""
    look = """(whole, least) => {
        const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        const rgba = colour => {
            context.clearRect(0, 0, 1, 1); context.fillStyle = '#000'; context.fillStyle = colour;
            context.fillRect(0, 0, 1, 1);
            const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
            return [r, g, b, a / 255];
        };
        const over = (top, under) => top.slice(0, 3).map((value, k) => value * top[3] + under[k] * (1 - top[3]));
        const light = colour => colour.map(value => value / 255)
            .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
            .reduce((sum, value, k) => sum + value * [0.2126, 0.7152, 0.0722][k], 0);
        const ground = element => {
            const layers = [];
            for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
            return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
        };
        const found = [], texts = document.createTreeWalker(whole, NodeFilter.SHOW_TEXT);
        for (let node = texts.nextNode(); node; node = texts.nextNode()) {
            const element = node.parentElement, box = element.getBoundingClientRect();
            if (!node.textContent.trim() || box.width < 2 || box.height < 2 || !element.checkVisibility()) continue;
            if (['SCRIPT', 'STYLE'].includes(element.tagName)) continue;
            const under = ground(element), words = over(rgba(getComputedStyle(element).color), under);
            const [dark, bright] = [light(under), light(words)].sort((a, b) => a - b);
            const contrast = (bright + 0.05) / (dark + 0.05);
            if (contrast < least) found.push([node.textContent.trim().slice(0, 60), Math.round(contrast * 100) / 100]);
        }
        return found;
    }"""
    return shown.evaluate(look, least)
