"""The parts of the demo's page: pipelines, inputs, editors, views and tabs."""
