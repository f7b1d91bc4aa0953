package agent

import (
	"testing"

	"my-agent/sdk/postern"
)

func deliver(t *testing.T, answers ...postern.Answer) (*postern.FakeHost, postern.Report) {
	host := &postern.FakeHost{JSON: `{"url": "https://sms.example/send"}`, Answers: answers}
	postern.SetHost(host)
	agent := New()
	if _, err := agent.Open(postern.NextHop{}); err != nil {
		t.Fatal(err)
	}
	report, err := agent.Deliver(postern.FakeItem{Words: "the text", To: []string{"+4930123", "+4930124"}})
	if err != nil {
		t.Fatal(err)
	}
	return host, report
}

func TestEachRecipientGetsAPostOfItsOwn(t *testing.T) {
	host, report := deliver(t, postern.Answer{Status: 200}, postern.Answer{Status: 422})
	if report[0].Kind != postern.KindDelivered || report[1].Kind != postern.KindFailed {
		t.Fatal(report)
	}
	second := host.Requests[1]
	if string(second.Body) != "the text" || second.Headers[2] != [2]string{"X-Recipient", "+4930124"} {
		t.Fatal(second)
	}
}

func TestWhatMayWorkLaterIsDeferred(t *testing.T) {
	_, report := deliver(t, postern.Answer{Status: 429, Headers: [][2]string{{"retry-after", "7"}}})
	if report[0].RetryAfter != 7 || report[0].Class != "throttled" || report[1].Kind != postern.KindDeferred {
		t.Fatal(report)
	}
}

func TestWithoutAURLNothingIsOpened(t *testing.T) {
	postern.SetHost(&postern.FakeHost{JSON: "{}"})
	if _, err := New().Open(postern.NextHop{}); err == nil {
		t.Fatal("it opened")
	}
}
