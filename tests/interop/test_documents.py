"""`/openapi.json`, checked by the validator of the OpenAPI project's Python tools."""

import json
import unittest
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from server import Server


class OpenApi(unittest.TestCase):
    def test_the_document_is_valid_and_has_every_procedure(self) -> None:
        with Server() as server, urllib.request.urlopen(server.url("/openapi.json")) as response:
            document = json.load(response)

        validate(document, cls=OpenAPIV31SpecValidator)

        self.assertIn("/rpc/counter.increment", document["paths"])
        self.assertIn("/api/v1/listNotes", document["paths"])


if __name__ == "__main__":
    unittest.main()
