// Package agent is my-agent: it logs each message, and says that it delivered it.
package agent

import (
	"fmt"

	"my-agent/sdk/postern"
)

// New is called once for each instance.
func New() postern.Agent { return &hello{} }

type hello struct{}

func (*hello) Describe() postern.Description {
	return postern.Description{Name: "my-agent", Version: "0.1.0", Protocol: "HELLO"}
}

func (*hello) Open(hop postern.NextHop) (string, error) {
	settings := struct{ Greeting string }{"hello"}
	if err := postern.Settings(&settings); err != nil {
		return "", err
	}
	postern.Info(fmt.Sprintf("%s, %s", settings.Greeting, hop.Destination))
	return hop.Destination, nil
}

func (*hello) Deliver(item postern.Item) (postern.Report, error) {
	envelope := item.Envelope()
	postern.Info(fmt.Sprintf("%d bytes from <%s>", envelope.Size, envelope.ReversePath))
	return postern.ReportAll(item.Recipients(), func(r postern.Recipient) postern.Outcome {
		return postern.Delivered("greeted " + r.Address)
	}), nil
}

func (*hello) Close() error { return nil }
