import { DormouseProvider } from "@dormouse/client/react";
import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./app";
import { client, queryClient } from "./dormouse";
import { ToastProvider } from "./toasts";
import "./style.css";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has an element with the id root");

createRoot(root).render(
  <StrictMode>
    <DormouseProvider client={client}>
      <QueryClientProvider client={queryClient}>
        <ToastProvider>
          <App />
        </ToastProvider>
      </QueryClientProvider>
    </DormouseProvider>
  </StrictMode>,
);
