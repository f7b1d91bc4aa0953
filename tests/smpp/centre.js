// A message centre on npm's `smpp`, which is not ours. Reads its faults as JSON from the first argument, and tells what
// happens in lines of JSON.
'use strict';
const smpp = require(process.env.SMPP_MODULE);

const faults = Object.assign({
  bind_status: 0, delay_ms: 0, throttle: 0, cut: '', cut_times: 1, receipt: 'delivered', receipt_order: 'late',
  receipt_ids: 'same', incoming: [],
}, JSON.parse(process.argv[2] || '{}'));

const tell = (event, more) => console.log(JSON.stringify(Object.assign({ event, at_ms: Date.now() }, more)));
let taken = 0;

// What a receipt says; the state as number in a tag too.
function receipt(session, pdu, id) {
  if (faults.receipt === 'none') return;
  const delivered = faults.receipt === 'delivered';
  const written = faults.receipt_ids === 'decimal' ? String(parseInt(id, 16)) : id;
  const fields = {
    source_addr: pdu.destination_addr, destination_addr: pdu.source_addr, esm_class: 4,
    short_message: `id:${written} sub:001 dlvrd:00${delivered ? 1 : 0} submit date:2511241200 done date:2511241201 ` +
      `stat:${delivered ? 'DELIVRD' : 'UNDELIV'} err:${delivered ? '000' : '069'} text:`,
  };
  if (faults.receipt_ids === 'same') {
    fields.receipted_message_id = id;
    fields.message_state = delivered ? 2 : 5;
  }
  session.deliver_sm(fields, answer => tell('receipt_taken', { status: answer.command_status }));
}

const server = smpp.createServer({}, session => {
  session.on('bind_transceiver', pdu => {
    tell('bind', { system_id: pdu.system_id, password: pdu.password });
    session.send(pdu.response({ command_status: faults.bind_status }));
    for (const text of faults.incoming) {
      const fields = { source_addr: '4930999999', source_addr_ton: 1, destination_addr: '80111', short_message: text };
      session.deliver_sm(fields, answer => tell('incoming_taken', { status: answer.command_status }));
    }
  });
  session.on('enquire_link', pdu => {
    tell('enquire_link');
    session.send(pdu.response());
  });
  session.on('unbind', pdu => {
    tell('unbind');
    session.send(pdu.response());
    session.close();
  });
  session.on('submit_sm', pdu => {
    const header = pdu.short_message.udh;
    tell('submit', {
      to: pdu.destination_addr, from: pdu.source_addr, text: pdu.short_message.message,
      segment: header ? [header[0][3] !== undefined ? header[0][3] : 0, header[0][4] || 0] : null,
      data_coding: pdu.data_coding,
    });
    if (faults.cut === 'submit' && faults.cut_times > 0) {
      faults.cut_times -= 1;
      session.socket.destroy();
      return;
    }
    if (faults.throttle > 0) {
      faults.throttle -= 1;
      session.send(pdu.response({ command_status: 0x58 }));
      return;
    }
    taken += 1;
    const id = (0xA0 + taken).toString(16).toUpperCase().padStart(8, '0');
    setTimeout(() => {
      if (faults.receipt_order === 'early') receipt(session, pdu, id);
      session.send(pdu.response({ message_id: id }));
      if (faults.receipt_order !== 'early') setTimeout(() => receipt(session, pdu, id), 50);
      if (faults.receipt_order === 'twice') setTimeout(() => receipt(session, pdu, id), 100);
    }, faults.delay_ms);
  });
  session.on('error', () => {});
});
server.listen(0, '127.0.0.1', () => tell('listening', { port: server.address().port }));
