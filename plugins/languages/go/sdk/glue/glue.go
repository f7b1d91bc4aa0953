// Package export_postern_delivery_agent_agent lies between the generated bindings and the author's package. build.sh copies it
// to where the bindings look for it.
package export_postern_delivery_agent_agent

import (
	"errors"
	"runtime/debug"

	agent "my-agent"
	"my-agent/sdk/postern"

	bindings "wit_component/postern_delivery_agent_agent"
	"wit_component/postern_delivery_agent_host"
	"wit_component/postern_delivery_agent_http"
	"wit_component/postern_delivery_agent_mail"
	"wit_component/postern_delivery_agent_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

var author postern.Agent

// The host copies results in through an allocator from which a component may call no import. Go's collector, and the scavenger
// and the cleanups that follow it, read clocks, which are imports, whenever the scheduler runs: once the collector has run, any
// call may trap. So it never runs. An instance serves one connection, and its memory is given back with it.
func init() {
	debug.SetGCPercent(-1)
	postern.SetHost(host{})
	author = agent.New()
}

func Describe() bindings.Description {
	d := author.Describe()
	return bindings.Description{Name: d.Name, Version: d.Version, Protocol: d.Protocol, Accepts: d.Accepts, MaxSize: option(d.MaxSize)}
}

func OpenConnection(hop postern_delivery_agent_types.NextHop) wit.Result[string, postern_delivery_agent_types.Refusal] {
	label, err := author.Open(postern.NextHop{Connector: hop.Connector, Protocol: hop.Protocol, Destination: hop.Destination})
	if err != nil {
		var wait postern.NotNow
		errors.As(err, &wait)
		d := deferral(postern.Deferred(err.Error(), wait.Class))
		return wit.Err[string](postern_delivery_agent_types.MakeRefusalDeferQueue(d))
	}
	return wit.Ok[string, postern_delivery_agent_types.Refusal](label)
}

func Deliver(own *postern_delivery_agent_mail.Item) wit.Result[bindings.Report, string] {
	defer own.Drop()
	item := item{own}
	done, err := author.Deliver(item)
	if err != nil {
		return wit.Err[bindings.Report](err.Error())
	}
	report := bindings.Report{Refusal: wit.None[postern_delivery_agent_types.Refusal]()}
	for index, outcome := range done {
		report.Outcomes = append(report.Outcomes, postern_delivery_agent_types.RecipientOutcome{
			Recipient: index, Outcome: outcomeOf(outcome), RemoteId: wit.None[string](),
		})
	}
	return wit.Ok[bindings.Report, string](report)
}

func CloseConnection() wit.Result[wit.Unit, string] {
	if err := author.Close(); err != nil {
		return wit.Err[wit.Unit](err.Error())
	}
	return wit.Ok[wit.Unit, string](wit.Unit{})
}

func option(value uint32) wit.Option[uint32] {
	if value == 0 {
		return wit.None[uint32]()
	}
	return wit.Some(value)
}

func response(o postern.Outcome) postern_delivery_agent_types.Response {
	status := wit.Tuple3[uint8, uint16, uint16]{F0: uint8(o.Code / 100)}
	return postern_delivery_agent_types.Response{Code: o.Code, Status: status, Text: o.Text}
}

func deferral(o postern.Outcome) postern_delivery_agent_types.Deferral {
	return postern_delivery_agent_types.Deferral{Response: response(o), Class: o.Class, RetryAfter: option(o.RetryAfter)}
}

func outcomeOf(o postern.Outcome) postern_delivery_agent_types.Outcome {
	switch o.Kind {
	case postern.KindDelivered:
		return postern_delivery_agent_types.MakeOutcomeDelivered(response(o))
	case postern.KindRelayed:
		return postern_delivery_agent_types.MakeOutcomeRelayed(response(o))
	case postern.KindExpanded:
		return postern_delivery_agent_types.MakeOutcomeExpanded(response(o))
	case postern.KindAccepted:
		return postern_delivery_agent_types.MakeOutcomeAccepted(postern_delivery_agent_types.Pending{
			ReceiptIds: o.ReceiptIDs, Response: response(o), ExpiresAfter: option(o.ExpiresAfter),
		})
	case postern.KindDeferred:
		return postern_delivery_agent_types.MakeOutcomeDeferred(deferral(o))
	default:
		return postern_delivery_agent_types.MakeOutcomeFailed(postern_delivery_agent_types.Failure{Response: response(o), Class: o.Class})
	}
}

type item struct{ own *postern_delivery_agent_mail.Item }

func pairs(tuples []wit.Tuple2[string, string]) [][2]string {
	var all [][2]string
	for _, t := range tuples {
		all = append(all, [2]string{t.F0, t.F1})
	}
	return all
}

func (i item) Envelope() postern.Envelope {
	e := i.own.Envelope()
	return postern.Envelope{ItemID: e.ItemId, Attempt: e.Attempt, ReversePath: e.ReversePath, ReceivedAt: e.ReceivedAt, Size: e.Size, Properties: pairs(e.Properties)}
}

func (i item) Recipients() []postern.Recipient {
	var all []postern.Recipient
	for _, r := range i.own.Recipients() {
		all = append(all, postern.Recipient{Index: r.Index, AddressType: r.AddressType, Address: r.Address, IdempotencyKey: r.IdempotencyKey, Properties: pairs(r.Properties)})
	}
	return all
}

func (i item) Read(offset, length uint32) ([]byte, error) {
	r := i.own.Read(offset, length)
	if r.IsErr() {
		return nil, errors.New(r.Err())
	}
	return r.Ok(), nil
}

func (i item) Headers() ([][2]string, error) {
	r := i.own.Headers()
	if r.IsErr() {
		return nil, errors.New(r.Err())
	}
	return pairs(r.Ok()), nil
}

func (i item) Text(max uint32) (string, error) {
	r := i.own.Text(max)
	if r.IsErr() {
		return "", errors.New(r.Err())
	}
	return r.Ok().SomeOr(""), nil
}

type host struct{}

func (host) Log(level postern.Level, text string) { postern_delivery_agent_host.Log(uint8(level), text) }
func (host) Settings() string                     { return postern_delivery_agent_host.Settings() }

func (host) Secret(name string) (string, bool) {
	secret := postern_delivery_agent_host.Secret(name)
	return secret.SomeOr(""), secret.IsSome()
}

func (host) Send(request postern.Request) (postern.Answer, error) {
	var headers []wit.Tuple2[string, string]
	for _, h := range request.Headers {
		headers = append(headers, wit.Tuple2[string, string]{F0: h[0], F1: h[1]})
	}
	r := postern_delivery_agent_http.Send(postern_delivery_agent_http.Request{
		Method: request.Method, Url: request.URL, Headers: headers, Body: request.Body, TimeoutMs: wit.None[uint32](),
	})
	if r.IsOk() {
		a := r.Ok()
		return postern.Answer{Status: a.Status, Headers: pairs(a.Headers), Body: a.Body}, nil
	}
	switch fault := r.Err(); fault.Tag() {
	case postern_delivery_agent_http.FaultTimeout:
		return postern.Answer{}, postern.ErrTimeout{}
	case postern_delivery_agent_http.FaultDenied:
		return postern.Answer{}, errors.New("denied: " + fault.Denied())
	case postern_delivery_agent_http.FaultConnect:
		return postern.Answer{}, errors.New("no connection: " + fault.Connect())
	case postern_delivery_agent_http.FaultTls:
		return postern.Answer{}, errors.New("TLS: " + fault.Tls())
	case postern_delivery_agent_http.FaultTooLarge:
		return postern.Answer{}, errors.New("larger than the host carries")
	default:
		return postern.Answer{}, errors.New(fault.Other())
	}
}
