"""A toy plugin for Flowspan, written as a third party would: it imports the collector's public modules and nothing else of Flowspan."""
