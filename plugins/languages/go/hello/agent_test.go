package agent

import (
	"testing"

	"my-agent/sdk/postern"
)

func TestEveryRecipientIsGreeted(t *testing.T) {
	host := &postern.FakeHost{JSON: `{"greeting": "moin"}`}
	postern.SetHost(host)
	agent := New()
	if _, err := agent.Open(postern.NextHop{Destination: "box.example"}); err != nil {
		t.Fatal(err)
	}
	report, err := agent.Deliver(postern.FakeItem{Words: "x", To: []string{"ann@box.example", "bob@box.example"}})
	if err != nil || len(report) != 2 || report[1].Text != "greeted bob@box.example" {
		t.Fatal(report, err)
	}
	if host.Logged[0] != "moin, box.example" {
		t.Fatal(host.Logged)
	}
}
