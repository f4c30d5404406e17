"""The API as data: what each endpoint takes and answers. Routes, the OpenAPI document and docs are held to it."""
