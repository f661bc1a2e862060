// The tutorial's page loads this file for JSON.parse and JSON.stringify. Every browser that can open a
// WebSocket has both built in, so there is nothing left to define here; the file keeps that script tag working.
