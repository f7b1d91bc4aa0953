// Package postern is the agent contract in plain Go. It knows nothing of WebAssembly: agents that use it are tested with
// `go test`. In a component, glue in sdk/glue plays the host.
package postern

import (
	"encoding/json"
	"fmt"
)

// Description says what an agent is.
type Description struct {
	Name, Version, Protocol string
	// Accepts are the media types it can deliver; none: anything.
	Accepts []string
	// MaxSize is the largest message in bytes; 0: any.
	MaxSize uint32
}

// NextHop is where the queue goes.
type NextHop struct{ Connector, Protocol, Destination string }

// Envelope is what is known of a message beside its content.
type Envelope struct {
	ItemID      string
	Attempt     uint32
	ReversePath string
	ReceivedAt  string
	Size        uint32
	Properties  [][2]string
}

// Recipient is one recipient; Index names it in the report.
type Recipient struct {
	Index                uint32
	AddressType, Address string
	// IdempotencyKey is the same for every attempt at this recipient.
	IdempotencyKey string
	Properties     [][2]string
}

// Item is a message for one destination. It is valid until Deliver returns.
type Item interface {
	Envelope() Envelope
	Recipients() []Recipient
	// Read is short only at the end; at most 256 KiB a call.
	Read(offset, length uint32) ([]byte, error)
	// Headers are all fields in order, decoded.
	Headers() ([][2]string, error)
	// Text is the best plain text of the message, cut at max bytes; "" when it has none.
	Text(max uint32) (string, error)
}

// Kind is what became of a recipient.
type Kind uint8

// The kinds of outcome.
const (
	KindDelivered Kind = iota
	KindRelayed
	KindExpanded
	KindAccepted
	KindDeferred
	KindFailed
)

// Outcome is what became of one recipient. Use the functions that make them: their codes fit.
type Outcome struct {
	Kind Kind
	Code uint16
	Text string
	// Class is a word of the contract ("busy", "throttled", ...), or "".
	Class string
	// RetryAfter is a wish in seconds; 0: none.
	RetryAfter uint32
	// ReceiptIDs are waited for, at most ExpiresAfter seconds, where that is not 0.
	ReceiptIDs   []string
	ExpiresAfter uint32
}

// Delivered: it arrived.
func Delivered(text string) Outcome { return Outcome{Kind: KindDelivered, Code: 250, Text: text} }

// Relayed: it went on into a world that does not report back.
func Relayed(text string) Outcome { return Outcome{Kind: KindRelayed, Code: 250, Text: text} }

// Accepted: success is only reported when these receipts say so.
func Accepted(text string, receiptIDs ...string) Outcome {
	return Outcome{Kind: KindAccepted, Code: 250, Text: text, ReceiptIDs: receiptIDs}
}

// Deferred: not now, perhaps later.
func Deferred(text, class string) Outcome {
	return Outcome{Kind: KindDeferred, Code: 451, Text: text, Class: class}
}

// Failed: never.
func Failed(text, class string) Outcome {
	return Outcome{Kind: KindFailed, Code: 550, Text: text, Class: class}
}

// NotNow is an error of Open: the whole queue has to wait.
type NotNow struct{ Text, Class string }

func (n NotNow) Error() string { return n.Text }

// Report has an outcome for each recipient, by its index.
type Report map[uint32]Outcome

// ReportAll makes a report of what is done for each recipient.
func ReportAll(recipients []Recipient, outcome func(Recipient) Outcome) Report {
	report := Report{}
	for _, recipient := range recipients {
		report[recipient.Index] = outcome(recipient)
	}
	return report
}

// Agent is what an author writes. One instance of the component is one open connection.
type Agent interface {
	Describe() Description
	// Open returns the label of the far end; any error makes the queue wait.
	Open(hop NextHop) (string, error)
	// Deliver's error defers every recipient that has no outcome.
	Deliver(item Item) (Report, error)
	Close() error
}

// Level is the importance of a line in the log.
type Level uint8

// The levels.
const (
	LevelError Level = iota
	LevelWarn
	LevelInfo
	LevelDebug
	LevelTrace
)

// Request is sent by the host, within the connector's grants.
type Request struct {
	Method, URL string
	Headers     [][2]string
	Body        []byte
}

// Answer is an answer of any status.
type Answer struct {
	Status  uint16
	Headers [][2]string
	Body    []byte
}

// ErrTimeout is the error of Send when the time ran out.
type ErrTimeout struct{}

func (ErrTimeout) Error() string { return "no answer in time" }

// Host is what agents are given; in a component by glue, in tests by FakeHost.
type Host interface {
	Log(level Level, text string)
	Settings() string
	Secret(name string) (string, bool)
	Send(request Request) (Answer, error)
}

var host Host

// SetHost puts a host in place.
func SetHost(h Host) { host = h }

// Info writes a line to the host's log.
func Info(text string) { host.Log(LevelInfo, text) }

// Error writes a line about something that went wrong to the host's log.
func Error(text string) { host.Log(LevelError, text) }

// Settings reads the connector's settings table.
func Settings(into any) error {
	if err := json.Unmarshal([]byte(host.Settings()), into); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

// Secret is a granted secret.
func Secret(name string) (string, bool) { return host.Secret(name) }

// Send sends an HTTP request; an answer of an error status is an answer.
func Send(request Request) (Answer, error) { return host.Send(request) }
