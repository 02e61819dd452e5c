"""Times libwbxml in this process: the yardstick of the codec benchmark.

Usage: libwbxml.py WBXML-FILE XML-FILE. Prints, one a line, the name of a conversion and its
microseconds per message (best of five rounds); exits 3 if the library is not installed.
"""

import ctypes
import sys
import time

ROUNDS = 5
SECONDS = 0.25


def best(convert):
    convert()
    start = time.perf_counter()
    convert()
    repeats = max(1, int(SECONDS / (time.perf_counter() - start)))
    figures = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(repeats):
            convert()
        figures.append((time.process_time() - start) / repeats * 1e6)
    return min(figures)


def main():
    try:
        library = ctypes.CDLL("libwbxml2.so.1")
    except OSError:
        sys.exit(3)
    with open(sys.argv[1], "rb") as file:
        wbxml = file.read()
    with open(sys.argv[2], "rb") as file:
        xml = file.read()
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    out = ctypes.c_void_p()
    length = ctypes.c_uint32()

    # WBXML to a tree: decoding alone, without writing XML.
    library.wbxml_tree_from_wbxml.argtypes = [
        ctypes.c_char_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    library.wbxml_tree_destroy.argtypes = [ctypes.c_void_p]

    def to_tree():
        if library.wbxml_tree_from_wbxml(wbxml, len(wbxml), 0, 0, ctypes.byref(out)):
            sys.exit("libwbxml does not read the message")
        library.wbxml_tree_destroy(out)

    def handle(kind):
        made = ctypes.c_void_p()
        getattr(library, f"wbxml_conv_{kind}_create")(ctypes.byref(made))
        run = getattr(library, f"wbxml_conv_{kind}_run")
        run.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32,
                        ctypes.c_void_p, ctypes.c_void_p]
        return run, made

    to_xml_run, to_xml = handle("wbxml2xml")
    to_wbxml_run, to_wbxml = handle("xml2wbxml")

    def convert(run, made, document):
        if run(made, document, len(document), ctypes.byref(out), ctypes.byref(length)):
            sys.exit("libwbxml does not convert the message")
        free(out)

    print("tree", best(to_tree))
    print("wbxml2xml", best(lambda: convert(to_xml_run, to_xml, wbxml)))
    print("xml2wbxml", best(lambda: convert(to_wbxml_run, to_wbxml, xml)))


main()
