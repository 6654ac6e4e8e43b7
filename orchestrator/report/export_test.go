package report

// FakeRun writes the files of a run.
var FakeRun = fakeRun
