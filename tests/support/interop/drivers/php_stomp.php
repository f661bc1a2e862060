<?php
// PHP's stomp extension as a puppet of a Python test.
//
//   php php_stomp.php HOST:PORT HEARTBEAT_MS COMES_BACK
//
// The extension waits for each receipt itself, and leaves coming back to the program.

[, $address, , $comesBack] = $argv;
$messages = [];
$wanted = [];
$stomp = null;

function tell(string $event, array $more = []): void
{
    fwrite(STDOUT, json_encode(['event' => $event] + $more) . "\n");
}

function connect(): Stomp
{
    global $address, $wanted;
    while (true) {
        try {
            $stomp = new Stomp("tcp://$address", '', '', ['accept-version' => '1.1', 'host' => 'localhost']);
            break;
        } catch (StompException $problem) {
            usleep(200000);
        }
    }
    $stomp->setReadTimeout(0, 20000);
    foreach ($wanted as [$destination, $headers]) {
        $stomp->subscribe($destination, $headers);
    }
    tell('connected');
    return $stomp;
}

function confirmed(string $name, bool $isConfirmed): void
{
    global $stomp;
    if ($isConfirmed) {
        tell('receipt', ['name' => $name]);
    } elseif ($stomp->error()) {
        tell('error', ['message' => $stomp->error()]);
    }
}

function obey(array $order): void
{
    global $stomp, $messages, $wanted;
    static $receipts = 0;
    $headers = $order['headers'] ?? [];
    $receipt = ['receipt' => 'receipt-' . ++$receipts];
    switch ($order['op']) {
        case 'subscribe':
            $wanted[$headers['id']] = [$order['destination'], $headers];
            $done = $stomp->subscribe($order['destination'], $headers + $receipt);
            confirmed($headers['id'], $done);
            break;
        case 'unsubscribe':
            [$destination] = $wanted[$order['id']];
            unset($wanted[$order['id']]);
            $done = $stomp->unsubscribe($destination, ['id' => $order['id']] + $receipt);
            confirmed($order['id'], $done);
            break;
        case 'send':
            $body = base64_decode($order['base64']);
            $headers += ['content-length' => (string) strlen($body)];
            if ($order['confirm'] === null) {
                $stomp->send($order['destination'], $body, $headers);
            } else {
                confirmed($order['confirm'], $stomp->send($order['destination'], $body, $headers + $receipt));
            }
            break;
        case 'ack':
        case 'nack':
            $frame = $messages[$order['message']];
            $stomp->{$order['op']}($frame, $headers + ['subscription' => $frame->headers['subscription']]);
            break;
        case 'begin':
        case 'commit':
        case 'abort':
            $stomp->{$order['op']}($order['name']);
            break;
        case 'leave':
            $stomp = null;
            tell('left');
            exit;
    }
}

$stomp = connect();
while (true) {
    try {
        while ($stomp->hasFrame() && ($frame = $stomp->readFrame())) {
            if ($frame->command === 'MESSAGE') {
                $messages[] = $frame;
                tell('message', [
                    'number' => count($messages) - 1,
                    'headers' => $frame->headers,
                    'base64' => base64_encode((string) $frame->body),
                ]);
            } elseif ($frame->command === 'ERROR') {
                tell('error', ['message' => $frame->headers['message']]);
            }
        }
        if ($stomp->error()) {
            throw new StompException($stomp->error());
        }
    } catch (StompException $problem) {
        if ($comesBack !== '1') {
            tell('error', ['message' => $problem->getMessage()]);
            exit;
        }
        $stomp = connect();
    }
    $read = [STDIN];
    $none = [];
    if (stream_select($read, $none, $none, 0, 20000)) {
        $line = fgets(STDIN);
        if ($line === false) {
            exit;
        }
        $stomp->setReadTimeout(10); // for receipts
        obey(json_decode($line, true));
        $stomp->setReadTimeout(0, 20000); // for a look at what has come
    }
}
