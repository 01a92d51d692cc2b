import { QueryClient, QueryClientProvider, useQuery } from "@tanstack/react-query";
import { StrictMode, useState, useSyncExternalStore } from "react";
import { createRoot } from "react-dom/client";
import { queryOptions } from "@x/jsonrpc/store";
import { client, clock } from "./client.js";

function Clock() {
  const time = useSyncExternalStore(clock.subscribe, clock.getSnapshot, clock.getServerSnapshot);
  return <p>It is {time}</p>;
}

function Sum() {
  const { data, error } = useQuery(queryOptions(client, "add", [1, 2]));
  return <p>The sum is {error ? error.message : data}</p>;
}

function App() {
  const [shown, show] = useState(true);
  return (
    <>
      {shown && <Clock />}
      {shown && <Clock />}
      <Sum />
      <button type="button" onClick={() => show(!shown)}>{shown ? "Hide" : "Show"}</button>
    </>
  );
}

createRoot(document.getElementById("app")).render(
  <StrictMode>
    <QueryClientProvider client={new QueryClient()}>
      <App />
    </QueryClientProvider>
  </StrictMode>,
);
